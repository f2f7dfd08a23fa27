"""The only place that wires things together: settings in, running threads out.

wiring (settings → sinks, routes, feeds) → running (threads) ; dry_run shows and sends nothing ;
doctor looks and changes nothing
"""

from riverbridge.service.doctor import examine
from riverbridge.service.dry_run import dry_run
from riverbridge.service.retrying import Retrying
from riverbridge.service.running import Bridge, run
from riverbridge.service.serving import serve_console
from riverbridge.service.wiring import read_settings

__all__ = ["Bridge", "Retrying", "dry_run", "examine", "read_settings", "run", "serve_console"]
