"""`python -m riverbridge.settings > docs/configuration.md` writes the reference."""

import sys

from riverbridge.settings.reference import reference

sys.stdout.write(reference())
