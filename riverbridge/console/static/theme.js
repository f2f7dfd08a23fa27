// Before anything is painted: the theme that was chosen here, if any. Else the system's holds.
"use strict";
try {
  const theme = localStorage.getItem("riverbridge-theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch { /* no storage, no choice */ }
