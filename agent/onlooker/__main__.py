"""``python -m onlooker`` is the command ``onlooker``."""

import sys

from onlooker.cli import main

sys.exit(main())
