"""Tables: two-player text games that are small enough to be solved, and the environment that plays them."""

from piplay.envs.table.base import Table
from piplay.envs.table.environment import Deals, TableEnvironment
from piplay.envs.table.kuhn import Kuhn
from piplay.envs.table.nim import Nim
from piplay.envs.table.rock_paper_scissors import RockPaperScissors
from piplay.envs.table.tic_tac_toe import TicTacToe

__all__ = ["Deals", "Kuhn", "Nim", "RockPaperScissors", "Table", "TableEnvironment", "TicTacToe"]
