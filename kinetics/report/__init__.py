"""How a download has gone so far, as figures, text, plots and a page."""
