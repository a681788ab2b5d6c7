"""Methods of self-play: games, their task sources, metrics and evaluations; one folder or file a method."""
