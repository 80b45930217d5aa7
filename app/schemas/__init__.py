"""Request and response shapes (Pydantic), one file a resource."""
