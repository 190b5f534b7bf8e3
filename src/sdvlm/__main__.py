"""``python -m sdvlm`` is ``sdvlm``, for launchers that start modules (``torchrun -m sdvlm train ...``)."""

from sdvlm.cli.main import main

if __name__ == "__main__":
    main()
