//! gRPC calls.
