"""π-Play (arXiv 2604.14054): an examiner writes a question, students try it, a teacher sees how it was made."""

from piplay.methods.pi_play.evaluation import PiPlayEvaluation
from piplay.methods.pi_play.game import Examine, PrivilegedStudy, Study
from piplay.methods.pi_play.seed_passages import SeedPassages
from piplay.methods.pi_play.world_questions import WorldQuestions

__all__ = ["Examine", "PiPlayEvaluation", "PrivilegedStudy", "SeedPassages", "Study", "WorldQuestions"]
