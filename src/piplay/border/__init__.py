"""The border between the core and somebody's own classes: what these raise and give is checked here, and nowhere else.

``code.py``: what they raise, in one sentence with file and line. ``parts.py``: whether they have what is asked of
them. ``checked.py``: what stands for a game, a source or an evaluation once it is made, and checks what it gives.
``play.py``: tasks, episodes, facts, metrics, states and tool results. ``learn.py``: advantages, weights and losses.
Each check raises ``InputError`` naming the class; none is made for every token.
"""
