"""Images of the same thing: copies that were altered, and shots of one place. ``search`` finds them."""
