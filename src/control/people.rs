//! Recently seen subjects, sessions and clients; bounded; can be off.
