//! cuBLASLt, found when it is wanted: its handles and what a product needs of them.

use std::ffi::{CStr, c_void};
use std::ptr::from_ref;

use cudarc::cublaslt::result::{self, CublasError};
use cudarc::cublaslt::sys::{
    self, cublasComputeType_t, cublasLtEpilogue_t, cublasLtHandle_t, cublasLtMatmulAlgo_t,
    cublasLtMatmulAlgoConfigAttributes_t, cublasLtMatmulDesc_t, cublasLtMatmulDescAttributes_t,
    cublasLtMatmulHeuristicResult_t, cublasLtMatmulPreference_t,
    cublasLtMatmulPreferenceAttributes_t, cublasLtMatrixLayout_t, cublasStatus_t, cudaDataType,
};
use cudarc::driver::CudaStream;

use super::library::{Library, Places, variable};
use super::operands::{Matrix, Number, Operands, Product};
use super::target::{DRIVER_MIN, Version};

/// Bytes that every address of a factor or result is a multiple of.
pub(super) const ALIGNMENT: u32 = 16;
/// How many algorithms are asked for, of which the first that fits is taken.
const CANDIDATES: usize = 32;

/// Every function that is called here, by way of `cudarc`.
const FUNCTIONS: [&CStr; 15] = [
    c"cublasLtCreate",
    c"cublasLtDestroy",
    c"cublasLtGetVersion",
    c"cublasLtMatmul",
    c"cublasLtMatmulAlgoCheck",
    c"cublasLtMatmulAlgoConfigGetAttribute",
    c"cublasLtMatmulAlgoGetHeuristic",
    c"cublasLtMatmulDescCreate",
    c"cublasLtMatmulDescDestroy",
    c"cublasLtMatmulDescSetAttribute",
    c"cublasLtMatmulPreferenceCreate",
    c"cublasLtMatmulPreferenceDestroy",
    c"cublasLtMatmulPreferenceSetAttribute",
    c"cublasLtMatrixLayoutCreate",
    c"cublasLtMatrixLayoutDestroy",
];

/// A handle of the library, for the context in which it was made.
#[derive(Debug)]
pub(super) struct Light(cublasLtHandle_t);

// SAFETY: the library's handles may be used by any thread.
unsafe impl Send for Light {}
// SAFETY: as above, by several at once.
unsafe impl Sync for Light {}

/// A way to compute a product.
#[derive(Clone, Copy, Debug)]
pub(super) struct Algorithm {
    inner: cublasLtMatmulAlgo_t,
    pub(super) workspace_bytes: u64,
    /// Pieces that the inner dimension is cut into.
    pub(super) pieces: i32,
    /// How pieces are summed; 0 if they are not.
    pub(super) reduction: u32,
}

/// A product with all its shapes, ready to be computed.
#[derive(Debug)]
pub(super) struct Prepared {
    description: Description,
    weights: Layout,
    x: Layout,
    y: Layout,
}

/// Where the operands of a product are on the card.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addresses {
    pub(super) weights: u64,
    pub(super) x: u64,
    pub(super) y: u64,
    /// What `y` held is multiplied by this and added.
    pub(super) keep: f32,
    pub(super) workspace: u64,
    pub(super) workspace_bytes: usize,
}

impl Light {
    /// Finds the library for drivers that speak this CUDA; the text says why it cannot be had. The
    /// thread has the card's context.
    pub(super) fn open(driver: Version) -> Result<Self, String> {
        let majors = (DRIVER_MIN.major..=driver.major).rev();
        let names = majors.map(|major| format!("libcublasLt.so.{major}")).collect();
        let packages = &["cu13", "cublas"];
        let places = Places { variable: "COTENANT_CUBLASLT", names, packages };
        let mut reasons = Vec::new();
        let found = places
            .paths(variable)
            .into_iter()
            .find_map(|path| Library::open(&path).map_err(|reason| reasons.push(reason)).ok());
        let library = found.ok_or_else(|| reasons.into_iter().next().unwrap_or_default())?;
        if let Some(function) = library.lacks(&FUNCTIONS) {
            return Err(format!("it has no {function}"));
        }
        // SAFETY: the library is trusted as the driver is. `cudarc` finds what was just loaded by its
        // own name, or another that stands before it on the loader's path.
        if !unsafe { sys::is_culib_present() } {
            return Err("the loader does not find it a second time".to_owned());
        }
        let handle = result::create_handle().map_err(|error| format!("it answers {error}"))?;
        Ok(Self(handle))
    }

    /// Its version, as a number.
    pub(super) fn version(&self) -> usize {
        // SAFETY: it reads nothing of ours, and was there when the library was opened.
        unsafe { sys::cublasLtGetVersion() }
    }

    /// Ways to compute a product, the fastest first as the library estimates, that need no more
    /// workspace, sum no pieces and say how they are made.
    pub(super) fn candidates(
        &self,
        prepared: &Prepared,
        workspace_bytes: u64,
    ) -> Result<Vec<Algorithm>, CublasError> {
        let preference = Preference::new(workspace_bytes)?;
        let mut count = 0;
        let mut found: Vec<cublasLtMatmulHeuristicResult_t> = Vec::with_capacity(CANDIDATES);
        let Prepared { description, weights, x, y } = prepared;
        // SAFETY: all handles live; the list has room for as many results, and the library says how
        // many it wrote.
        unsafe {
            let status = sys::cublasLtMatmulAlgoGetHeuristic(
                self.0,
                description.0,
                weights.0,
                x.0,
                y.0,
                y.0,
                preference.0,
                CANDIDATES as i32,
                found.as_mut_ptr(),
                &mut count,
            );
            // No algorithm at all is none of our errors.
            if status == cublasStatus_t::CUBLAS_STATUS_NOT_SUPPORTED {
                return Ok(Vec::new());
            }
            status.result()?;
            found.set_len(count.max(0).unsigned_abs() as usize);
        }
        let good = found.iter().filter(|one| one.state == cublasStatus_t::CUBLAS_STATUS_SUCCESS);
        Ok(good.filter_map(|one| Algorithm::read(one).ok()).collect())
    }

    /// Whether an algorithm computes a product of these shapes.
    pub(super) fn can(&self, prepared: &Prepared, algorithm: &Algorithm, most: u64) -> bool {
        let mut found = std::mem::MaybeUninit::<cublasLtMatmulHeuristicResult_t>::uninit();
        let Prepared { description, weights, x, y } = prepared;
        // SAFETY: all handles live, and the result is written where the answer is success.
        unsafe {
            let status = sys::cublasLtMatmulAlgoCheck(
                self.0,
                description.0,
                weights.0,
                x.0,
                y.0,
                y.0,
                &algorithm.inner,
                found.as_mut_ptr(),
            );
            status.result().is_ok() && found.assume_init().workspaceSize as u64 <= most
        }
    }

    /// Submits a product.
    ///
    /// # Safety
    /// The operands are as long as the shapes say and stay until the stream did it, and the workspace
    /// is as long as the algorithm wants and used on this stream alone.
    pub(super) unsafe fn multiply(
        &self,
        stream: &CudaStream,
        prepared: &Prepared,
        algorithm: &Algorithm,
        at: &Addresses,
    ) -> Result<(), CublasError> {
        let one = 1.0_f32;
        let Prepared { description, weights, x, y } = prepared;
        let (place, target) = (|address: u64| address as *const c_void, at.y as *mut c_void);
        // SAFETY: all handles live, the two numbers are read before the call returns, and for the
        // memory the caller vouches.
        unsafe {
            result::matmul(
                self.0,
                description.0,
                from_ref(&one).cast(),
                from_ref(&at.keep).cast(),
                place(at.weights),
                weights.0,
                place(at.x),
                x.0,
                target,
                y.0,
                target,
                y.0,
                &algorithm.inner,
                at.workspace as *mut c_void,
                at.workspace_bytes,
                stream.cu_stream().cast(),
            )
        }
    }
}

impl Drop for Light {
    fn drop(&mut self) {
        // SAFETY: the handle is used by nothing any more. An error leaves it to the process's end.
        let _ = unsafe { result::destroy_handle(self.0) };
    }
}

impl Algorithm {
    fn read(found: &cublasLtMatmulHeuristicResult_t) -> Result<Self, CublasError> {
        use cublasLtMatmulAlgoConfigAttributes_t::{
            CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME, CUBLASLT_ALGO_CONFIG_SPLITK_NUM,
        };
        let mut values = [0_u32; 2];
        let names = [CUBLASLT_ALGO_CONFIG_SPLITK_NUM, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME];
        for (name, value) in names.into_iter().zip(&mut values) {
            let (to, mut written) = (std::ptr::from_mut(value).cast(), 0);
            // SAFETY: both attributes are numbers of 32 bits.
            unsafe {
                sys::cublasLtMatmulAlgoConfigGetAttribute(&found.algo, name, to, 4, &mut written)
            }
            .result()?;
        }
        let [pieces, reduction] = values;
        let (inner, workspace_bytes) = (found.algo, found.workspaceSize as u64);
        Ok(Self { inner, workspace_bytes, pieces: pieces.cast_signed(), reduction })
    }
}

impl Prepared {
    /// Describes a product of so many rows, with the bias at an address where it has one.
    pub(super) fn new(product: &Product, rows: usize, bias: u64) -> Result<Self, CublasError> {
        let Operands { weights, is_transposed, x, y } = product.operands(rows);
        Ok(Self {
            description: Description::new(product, is_transposed, bias)?,
            weights: Layout::new(product.inputs, weights)?,
            x: Layout::new(product.inputs, x)?,
            y: Layout::new(product.result, y)?,
        })
    }
}

#[derive(Debug)]
struct Layout(cublasLtMatrixLayout_t);

impl Layout {
    fn new(number: Number, matrix: Matrix) -> Result<Self, CublasError> {
        let kind = match number {
            Number::Bf16 => cudaDataType::CUDA_R_16BF,
            Number::F32 => cudaDataType::CUDA_R_32F,
        };
        let Matrix { rows, columns, stride } = matrix;
        result::create_matrix_layout(kind, rows, columns, stride.cast_signed()).map(Self)
    }
}

impl Drop for Layout {
    fn drop(&mut self) {
        // SAFETY: it lives until now.
        let _ = unsafe { result::destroy_matrix_layout(self.0) };
    }
}

#[derive(Debug)]
struct Description(cublasLtMatmulDesc_t);

impl Description {
    fn new(product: &Product, is_transposed: bool, bias: u64) -> Result<Self, CublasError> {
        use cublasLtMatmulDescAttributes_t::{
            CUBLASLT_MATMUL_DESC_BIAS_POINTER, CUBLASLT_MATMUL_DESC_EPILOGUE,
            CUBLASLT_MATMUL_DESC_TRANSA,
        };
        let sums = match (product.inputs, product.may_round) {
            (Number::F32, true) => cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_TF32,
            (Number::F32, false) | (Number::Bf16, _) => cublasComputeType_t::CUBLAS_COMPUTE_32F,
        };
        let made = Self(result::create_matmul_desc(sums, cudaDataType::CUDA_R_32F)?);
        made.set(CUBLASLT_MATMUL_DESC_TRANSA, &u32::from(is_transposed))?;
        if product.has_bias {
            let epilogue = cublasLtEpilogue_t::CUBLASLT_EPILOGUE_BIAS as u32;
            made.set(CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue)?;
            made.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias)?;
        }
        Ok(made)
    }

    fn set<T: Copy>(
        &self,
        name: cublasLtMatmulDescAttributes_t,
        value: &T,
    ) -> Result<(), CublasError> {
        let (from, bytes) = (from_ref(value).cast(), size_of::<T>());
        // SAFETY: the description lives, and the value is copied; the callers give each attribute its
        // type.
        unsafe { result::set_matmul_desc_attribute(self.0, name, from, bytes) }
    }
}

impl Drop for Description {
    fn drop(&mut self) {
        // SAFETY: it lives until now.
        let _ = unsafe { result::destroy_matmul_desc(self.0) };
    }
}

#[derive(Debug)]
struct Preference(cublasLtMatmulPreference_t);

impl Preference {
    fn new(workspace_bytes: u64) -> Result<Self, CublasError> {
        use cublasLtMatmulPreferenceAttributes_t::{
            CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
            CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
            CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
        };
        let made = Self(result::create_matmul_pref()?);
        made.set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace_bytes)?;
        // No way to sum pieces is allowed.
        made.set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &0_u32)?;
        for name in [
            CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
            CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
            CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
            CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES,
        ] {
            made.set(name, &ALIGNMENT)?;
        }
        Ok(made)
    }

    fn set<T: Copy>(
        &self,
        name: cublasLtMatmulPreferenceAttributes_t,
        value: &T,
    ) -> Result<(), CublasError> {
        let (from, bytes) = (from_ref(value).cast(), size_of::<T>());
        // SAFETY: the preference lives, and the value is copied; the callers give each attribute its
        // type.
        unsafe { result::set_matmul_pref_attribute(self.0, name, from, bytes) }
    }
}

impl Drop for Preference {
    fn drop(&mut self) {
        // SAFETY: it lives until now.
        let _ = unsafe { result::destroy_matmul_pref(self.0) };
    }
}
