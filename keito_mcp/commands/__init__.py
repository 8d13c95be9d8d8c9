"""What a person does with the journal from a terminal: look, deliver now, discard, undo."""
