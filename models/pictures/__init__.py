"""Where pictures come from: the project's own drawn cats, and folders of images."""
