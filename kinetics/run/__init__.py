"""A download from its plan to its result, whoever asked for it: nothing here prints, or waits for signals."""
