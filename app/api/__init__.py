"""HTTP only: parse, call one service verb, return. One file a resource."""
