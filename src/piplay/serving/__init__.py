"""``piplay serve``: a trained agent behind the OpenAI API. It searches here; clients see what it thought and found."""
