"""Named policies that write turns and learn from samples, behind one protocol (``protocol.py``).

An engine is a package with a class that a recipe names as ``engine.kind``, ``local`` or ``module:Class``. The class has
``start(model, policies, settings, *, seed)``, which returns an ``Engine``; tests/engine/conformance.py is what each has
to pass.
"""
