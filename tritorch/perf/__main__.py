"""`python -m tritorch.perf`"""

import sys

from .cli import main

sys.exit(main())
