"""`offsite report`: one HTML file that says what each party gained and gave away.

`page` puts it together, `render` writes it, `command` is the command. What a run says becomes
plain texts and figures (`content`) before the template or a plot sees it.
"""
