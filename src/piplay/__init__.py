"""piplay: data-free self-play that trains deep-search agents, after π-Play (arXiv 2604.14054)."""
