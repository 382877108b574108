"""The command line: one thin file per verb. Verbs load what they need, when they run."""
