"""The report of a run: one HTML file that needs nothing but itself, from the files of a run directory.

replay.py     what is played once more at the end: grid.json and examples.json
read.py       everything that the page says, read from the run directory
sections.py   the charts and what a healthy one looks like
generic.py    charts of numbers that the page knows by name alone
examples.py   rollouts, token by token
page.py       the page and its style
curves.py     lines; bars.py: bars, funnels, heat maps; svg.py: what both draw with; markup.py: escaped HTML
command.py    ``piplay report RUN``
"""
