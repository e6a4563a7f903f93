//! Black-box tests: the real server and the real go command over loopback. One module a subject.

mod bed;
