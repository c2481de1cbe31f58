//! The kernels that tenants run: a description for the fake driver, and code for a real one.

/// The kernel that works for as long as its argument says.
pub(super) const WORK: &str = "k";

/// The kernel that breaks its context.
pub(super) const BAD: &str = "bad";

/// Both as a text that every driver since CUDA 9 compiles for its card, from compute capability 7.0
/// on. A loop is four multiplications and additions that wait for one another. Each value comes
/// towards a half and never to infinity, which no compiler finds out, so that it may leave none of
/// them away; and it is the same work on a busy card, which a wait for a clock would not be.
pub(super) const TEXT: &str = "\
.version 6.0
.target sm_70
.address_size 64

.global .align 4 .b8 sink[4];

.visible .entry k(.param .u64 loops)
{
    .reg .pred %done, %odd;
    .reg .f32 %value, %half, %quarter;
    .reg .u64 %left, %place;
    ld.param.u64 %left, [loops];
    mov.f32 %value, 0f3F800000;
    mov.f32 %half, 0f3F000000;
    mov.f32 %quarter, 0f3E800000;
    setp.eq.u64 %done, %left, 0;
    @%done bra END;
AGAIN:
    fma.rn.f32 %value, %value, %half, %quarter;
    fma.rn.f32 %value, %value, %half, %quarter;
    fma.rn.f32 %value, %value, %half, %quarter;
    fma.rn.f32 %value, %value, %half, %quarter;
    sub.u64 %left, %left, 1;
    setp.ne.u64 %done, %left, 0;
    @%done bra AGAIN;
END:
    setp.eq.f32 %odd, %value, 0f7F800000;
    mov.u64 %place, sink;
    @%odd st.global.f32 [%place], %value;
    ret;
}

.visible .entry bad(.param .u64 unused)
{
    .reg .u64 %place;
    .reg .u32 %value;
    mov.u64 %place, 64;
    mov.u32 %value, 1;
    st.global.u32 [%place], %value;
    ret;
}
";

/// The kernel as the fake driver is told of it: its argument is nanoseconds.
pub(super) fn described(sms: Option<u32>) -> String {
    let sms = sms.map(|sms| format!(" sms={sms}")).unwrap_or_default();
    format!("fake-image\nkernel {WORK} ns=arg{sms}\n")
}
