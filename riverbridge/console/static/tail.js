// The live tail: a row for each event, the newest first. Everything from a job is text, never markup.
(() => {
  "use strict";
  const table = document.querySelector("[data-tail]");
  if (!table) return;
  const ROWS = 500;
  const rows = table.tBodies[0];
  const state = document.querySelector("[data-tail-state]");
  const pause = document.querySelector("[data-tail-pause]");
  let paused = false;
  let waiting = [];
  let skipped = 0;

  const cell = (row, text) => {
    const made = row.insertCell();
    made.textContent = text;
    return made;
  };
  const show = (job) => {
    const row = rows.insertRow(0);
    const link = document.createElement("a");
    link.href = table.dataset.jobs + job.id;
    link.textContent = job.id;
    row.insertCell().append(link);
    cell(row, job.kind);
    cell(row, job.queue);
    cell(row, job.state);
    cell(row, String(job.created_at).replace("T", " ").slice(0, 23));
    const args = job.args === null ? "(large)" : JSON.stringify(job.args);
    cell(row, args.length > 200 ? args.slice(0, 200) + "…" : args);
    while (rows.rows.length > ROWS) rows.deleteRow(-1);
  };
  const tell = () => {
    const passed = skipped ? `; ${skipped} came too fast to be shown` : "";
    state.textContent = paused ? `Paused; ${waiting.length} wait${passed}` : `Watching${passed}`;
  };
  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    pause.textContent = paused ? "Go on" : "Pause";
    if (!paused) waiting.splice(0).forEach(show);
    tell();
  });
  const stream = new EventSource(table.dataset.tail);
  stream.addEventListener("open", tell);
  stream.addEventListener("job", (event) => {
    const job = JSON.parse(event.data);
    if (!paused) return show(job);
    waiting.push(job);
    if (waiting.length > ROWS) { waiting.shift(); skipped += 1; }
    tell();
  });
  stream.addEventListener("skipped", (event) => { skipped += Number(event.data); tell(); });
  stream.addEventListener("error", () => {
    state.textContent = stream.readyState === EventSource.CLOSED
      ? "Refused: too many are watching; load the page again later."
      : "The connection is lost; trying again.";
  });
})();
