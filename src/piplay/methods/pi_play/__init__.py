"""π-Play (arXiv 2604.14054): an examiner writes a question, students try it, a teacher sees how it was made."""

from piplay.methods.pi_play.game import Examine, Recite, Study

__all__ = ["Examine", "Recite", "Study"]
