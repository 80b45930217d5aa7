"""An evaluation as a page: one HTML file that needs nothing beside itself, no script and no address.

It is made when somebody asks, in a process of its own: ``python -m app.evaluation.page FOLDER``. Only that
process imports matplotlib and Jinja.
"""
