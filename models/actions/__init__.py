"""What is fitted on top of a backbone to name actions and to find them: classifiers and a proposal network."""
