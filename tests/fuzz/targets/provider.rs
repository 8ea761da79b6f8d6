//! See `checks::provider`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| portcullis_fuzz::provider(bytes));
