//! What would make Envoy reject a whole message, or stall, found before it is posted.
