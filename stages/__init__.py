"""What the work is: the verbs, and the rooms that they use."""
