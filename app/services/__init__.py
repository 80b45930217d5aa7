"""The verbs of Loupe, one file a resource: the only writers of state. A public verb is one transaction."""
