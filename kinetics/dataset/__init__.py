"""Works on the clips on disk: verifies, converts, lists, packs, describes and compares them."""
