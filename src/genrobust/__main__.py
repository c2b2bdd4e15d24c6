"""The program: genrobust, or python -m genrobust."""

import sys


def main() -> None:
    """Run the command line, and exit; at a signal, during the imports too, with a message."""
    from genrobust.core import INTERRUPTED, raise_at_signals, report_interrupt

    raise_at_signals()
    try:
        from genrobust.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(report_interrupt())
    except SystemExit as error:
        sys.exit(report_interrupt() if error.code == INTERRUPTED else error.code)


if __name__ == "__main__":
    main()
