"""``piplay push``: a trained policy with its model card, for the Hugging Face Hub."""
