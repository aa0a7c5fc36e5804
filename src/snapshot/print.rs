//! xDS as canonical proto JSON or YAML, from the committed descriptor set.
