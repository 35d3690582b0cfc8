"""Links to files outside docs/: to the repository, if it is known, and plain text otherwise."""

import os
import posixpath
import re

LINK = re.compile(r"\[([^\]]*)\]\(((?:\.\./)+[^)\s]*)\)")


def on_page_markdown(markdown, page, config, **_):
    folder = posixpath.join("docs", posixpath.dirname(page.file.src_uri))

    def replaced(match):
        text, target = match.groups()
        path = posixpath.normpath(posixpath.join(folder, target.split("#")[0]))
        if path == "docs" or path.startswith("docs/") and path.endswith(".md"):
            return match[0]
        if not os.path.exists(posixpath.join(os.path.dirname(config.config_file_path), "..", path)):
            raise ValueError(f"{page.file.src_uri}: {target} is not there")
        if not config.repo_url:
            return text
        anchor = f"#{target.split('#')[1]}" if "#" in target else ""
        return f"[{text}]({config.repo_url.rstrip('/')}/blob/main/{path}{anchor})"

    return LINK.sub(replaced, markdown)
