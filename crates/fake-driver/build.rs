//! Binds the library's references to its own functions, as a real driver's are: where a program has
//! functions of the same names loaded before, what is looked up in this library is still its own.

fn main() {
    println!("cargo:rustc-cdylib-link-arg=-Wl,-Bsymbolic");
    println!("cargo:rerun-if-changed=build.rs");
}
