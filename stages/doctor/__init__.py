"""Looking before and after: what a corpus is worth and will cost, what this machine has, how two features differ."""
