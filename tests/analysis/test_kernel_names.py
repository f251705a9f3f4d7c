"""Names of kernels as profilers have shown them; where each was seen stands beside it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.analysis.kernel_names import FamilyError, demangled, load_families, short_name
from gnomon.enums import KernelFamily
from tests.analysis.kernel_recordings import MEASURED

# Mangled names and what c++filt makes of their beginning.
MANGLED = [
    (
        # flash-attention in vLLM: symbol of its shared object
        (
            "_ZN5flash24flash_fwd_splitkv_kernelI23Flash_fwd_kernel_traitsILi256ELi16ELi64ELi1ELb0ELb0E"
            "N7cutlass10bfloat16_tE19Flash_kernel_traitsILi256ELi16ELi64ELi1ES3_EELb0ELb0ELb0ELb0ELb1E"
            "Lb0ELb0ELb0EEEvNS_16Flash_fwd_paramsE"
        ),
        "void flash::flash_fwd_splitkv_kernel<Flash_fwd_kernel_traits<256, 16, 64, 1, false",
        "flash_fwd_splitkv_kernel",
        KernelFamily.ATTENTION,
    ),
    (
        # MagiAttention's build log (its issue 191)
        (
            "_ZN7cutlass13device_kernelIN5flash23FlashAttnFwdPostprocessINS_10bfloat16_tELj256ELj192E"
            "Lb1ELNS1_10SinkLayoutE1ENS_4arch4Sm90EEEEEvNT_6ParamsE"
        ),
        "void cutlass::device_kernel<flash::FlashAttnFwdPostprocess<cutlass::bfloat16_t, 256u",
        "FlashAttnFwdPostprocess",
        KernelFamily.ATTENTION,
    ),
]
# Names as profilers print them: the short one, and the family.
PRINTED = [
    # PyTorch: torch.profiler tables and Nsight Systems summaries in public reports
    (
        (
            "void at::native::vectorized_elementwise_kernel<4, at::native::FillFunctor<float>, "
            "std::array<char*, 1ul> >(int, at::native::FillFunctor<float>, std::array<char*, 1ul>)"
        ),
        "vectorized_elementwise_kernel[FillFunctor]",
        "copy",
    ),
    (
        (
            "void at::native::vectorized_elementwise_kernel<(int)4, at::native::AUnaryFunctor<"
            "float, float, float, at::native::binary_internal::MulFunctor<float>>, std::array<"
            "char *, (unsigned long)2>>(int, T2, T3)"
        ),
        "vectorized_elementwise_kernel[MulFunctor]",
        "elementwise",
    ),
    (
        (
            "void at::native::vectorized_elementwise_kernel<4, at::native::BUnaryFunctor<int, int, "
            "int, at::native::binary_internal::div_floor_kernel_cuda(at::TensorIteratorBase&)::"
            "{lambda()#1}::operator()() const::{lambda()#3}::operator()() const::"
            "{lambda(int, int)#1}>, std::array<char*, 2ul> >(int)"
        ),
        "vectorized_elementwise_kernel[div_floor_kernel_cuda]",
        "elementwise",
    ),
    (
        (
            "void at::native::reduce_kernel<512, 1, at::native::ReduceOp<float, at::native::"
            "func_wrapper_t<float, at::native::sum_functor<float, float, float>::operator()("
            "at::TensorIterator&)::{lambda(float, float)#1}>, unsigned int, float, 4, 4> >(int)"
        ),
        "reduce_kernel[sum_functor]",
        "reduction",
    ),
    # PyTorch's compiler, through Triton
    ("triton_poi_fused_add_mul_2", "triton_poi_fused_add_mul_2", "elementwise"),
    (
        "triton_red_fused__to_copy_add_mean_mul_pow_rsqrt_1",
        "triton_red_fused__to_copy_add_mean_mul_pow_rsqrt_1",
        "norm",
    ),
    (
        "triton_per_fused__to_copy_native_layer_norm_backward_view_3",
        "triton_per_fused__to_copy_native_layer_norm_backward_view_3",
        "norm",
    ),
    ("triton_tem_fused_mm_0", "triton_tem_fused_mm_0", "gemm"),
    # cuBLAS and cuBLASLt (NVIDIA/cutlass issue 1025; nanochat pull request 105)
    (
        "ampere_bf16_s16816gemm_bf16_256x128_ldg8_f2f_stages_32x3_nn",
        "ampere_bf16_s16816gemm_bf16_256x128_ldg8_f2f_stages_32x3_nn",
        "gemm",
    ),
    (
        "nvjet_tst_192x192_64x4_2x1_v_bz_coopB_TNN",
        "nvjet_tst_192x192_64x4_2x1_v_bz_coopB_TNN",
        "gemm",
    ),
    # CUTLASS, as vLLM runs it
    (
        (
            "void cutlass::Kernel2<cutlass_80_wmma_tensorop_bf16_s161616gemm_bf16_32x32_128x2_"
            "tn_align8>(cutlass_80_wmma_tensorop_bf16_s161616gemm_bf16_32x32_128x2_tn_align8::Params)"
        ),
        "cutlass_80_wmma_tensorop_bf16_s161616gemm_bf16_32x32_128x2_tn_align8",
        "gemm",
    ),
    # flash-attention 3
    (
        (
            "void cutlass::device_kernel<flash::enable_sm90_or_later<flash::FlashAttnFwdSm90<"
            "flash::CollectiveMainloopFwdSm90<2, cute::tuple<cute::C<1>, cute::C<1> > > > > >(int)"
        ),
        "FlashAttnFwdSm90",
        "attention",
    ),
    # PyTorch's memory-efficient attention
    (
        (
            "fmha_cutlassF_f16_aligned_64x128_rf_sm80(PyTorchMemEffAttention::AttentionKernel<cutlass::"
            "half_t, cutlass::arch::Sm80, true, 64, 128, 128, true, true>::Params)"
        ),
        "fmha_cutlassF_f16_aligned_64x128_rf_sm80",
        "attention",
    ),
    # vLLM: its profiling page, and tables of its kernels by others
    (
        (
            "std::enable_if<T2>(int)0&&vllm::_typeConvert<T1>::exists, void>::type "
            "vllm::fused_add_rms_norm_kernel<c10::BFloat16, 8>(T1 *, T1 *)"
        ),
        "fused_add_rms_norm_kernel",
        "norm",
    ),
    (
        (
            "void vllm::act_and_mul_kernel<c10::BFloat16, &vllm::silu_kernel<c10::BFloat16>, "
            "(bool)1>(T1 *, const T1 *)"
        ),
        "act_and_mul_kernel",
        "elementwise",
    ),
    (
        "void vllm::rotary_embedding_kernel<c10::BFloat16, (bool)1>(const long *)",
        "rotary_embedding_kernel",
        "elementwise",
    ),
    (
        (
            "void vllm::reshape_and_cache_flash_kernel<__nv_bfloat16, __nv_bfloat16, "
            "(vllm::Fp8KVCacheDataType)0>(__nv_bfloat16 const*)"
        ),
        "reshape_and_cache_flash_kernel",
        "copy",
    ),
    (
        (
            "void vllm::moe::topkGating<8, 128, 4, 16, 32, int, __nv_bfloat16, "
            "(vllm::moe::ScoringFunc)0>"
        ),
        "topkGating",
        "moe",
    ),
    ("fused_moe_kernel", "fused_moe_kernel", "moe"),
    # NCCL 2.19 and later
    (
        "ncclDevKernel_AllReduce_Sum_bf16_RING_LL(ncclDevKernelArgsStorage<4096ul>)",
        "ncclDevKernel_AllReduce_Sum_bf16_RING_LL",
        "collective",
    ),
    # cuDNN: PyTorch's scaled_dot_product_attention, and convolutions
    (
        "cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16_knob_7_64x128x128_4x1x1",
        "cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16_knob_7_64x128x128_4x1x1",
        "attention",
    ),
    (
        "sm80_xmma_fprop_implicit_gemm_f16f16_f16f32_f32_nhwckrsc_nhwc_tilesize256x64x32_stage3",
        "sm80_xmma_fprop_implicit_gemm_f16f16_f16f32_f32_nhwckrsc_nhwc_tilesize256x64x32_stage3",
        "convolution",
    ),
    # DeepGEMM, as SGLang and vLLM run it
    (
        (
            "void deep_gemm::sm90_fp8_gemm_1d2d_impl<(cute::UMMA::Major)0, 0u, 4096u, 1024u, 1u, "
            "(deep_gemm::GemmType)0, deep_gemm::epilogue::transform::EpilogueIdentity>(float*)"
        ),
        "sm90_fp8_gemm_1d2d_impl",
        "gemm",
    ),
    # FlashInfer: Nsight Systems summaries, and kernel sizes in SGLang (pull request 14544)
    (
        (
            "void flashinfer::BatchDecodeWithPagedKVCacheKernel<(flashinfer::PosEncodingMode)0, "
            "(unsigned int)2, flashinfer::DefaultAttention<(bool)0, (bool)0>, Params>(T9)"
        ),
        "BatchDecodeWithPagedKVCacheKernel",
        "attention",
    ),
    (
        (
            "void flashinfer::sampling::TopKTopPSamplingFromProbKernel<1024u, "
            "(cub::BlockScanAlgorithm)0>(float*)"
        ),
        "TopKTopPSamplingFromProbKernel",
        "sampling",
    ),
    ("void flashinfer::norm::RMSNormKernel<8u, __nv_bfloat16>(int)", "RMSNormKernel", "norm"),
]


@pytest.mark.parametrize(("mangled", "begins", "short", "family"), MANGLED)
def test_a_mangled_name_is_read_and_folded(mangled, begins, short, family):
    name = demangled(mangled)

    assert name.startswith(begins)
    assert short_name(name) == short
    assert load_families().of(name) is family


@pytest.mark.parametrize(("name", "short", "family"), PRINTED)
def test_a_name_that_a_profiler_prints_is_short_and_has_a_family(name, short, family):
    assert demangled(name) == name
    assert short_name(name) == short
    assert load_families().of(name) == family


def test_the_names_of_the_measured_recording():
    lines = (MEASURED / "names.txt").read_text().splitlines()
    names = [demangled(line.partition("\t")[2]) for line in lines]

    assert [load_families().of(name) for name in names] == ["gemm", "elementwise"]
    assert short_name(names[1]) == (
        "distribution_elementwise_grid_stride_kernel[normal_and_transform]"
    )


@pytest.mark.parametrize(("mangled", "begins", "short", "family"), MANGLED)
def test_a_name_that_stays_mangled_is_as_short(mangled, begins, short, family):
    assert short_name(mangled) == short
    assert load_families().of(mangled) is family


def test_of_a_name_that_no_compiler_wrote_nothing_is_made_up():
    assert short_name("_Z9saxpy_fooifPf") == "saxpy_foo"
    assert short_name("_Z999saxpy") == "_Z999saxpy"


@given(st.text(alphabet="aZ_:<>(){}[], &*0128lambdaoperator\n", max_size=60))
def test_no_name_is_too_strange(name):
    assert isinstance(short_name(demangled(name)), str)
    assert load_families().of(name) in KernelFamily


def test_a_file_of_ones_own_goes_first(tmp_path):
    file = tmp_path / "own.toml"
    file.write_text("[[rules]]\nfamily = 'moe'\npatterns = ['^nvjet_sm90_tst_320', 'my_kernel']\n")
    families = load_families(file)

    assert families.of("nvjet_sm90_tst_320x128_64x3") is KernelFamily.MOE
    assert families.of("nvjet_sm90_tst_192x192_64x4") is KernelFamily.GEMM
    assert families.of("MY_KERNEL") is KernelFamily.MOE


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("rules = [", "not valid TOML"),
        ("family = 'gemm'", "[[rules]] with family and patterns"),
        ("[[rules]]\nfamily = 'gemm'", "each of [[rules]] has family and patterns"),
        ("[[rules]]\nfamily = 'gem'\npatterns = ['a']", "'gem' is no family of kernels; there are"),
        ("[[rules]]\nfamily = 'gemm'\npatterns = 'a'", "must be a list of texts"),
        ("[[rules]]\nfamily = 'gemm'\npatterns = ['(']", "pattern '(' of 'gemm'"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(tmp_path, text, told):
    file = tmp_path / "own.toml"
    file.write_text(text)

    with pytest.raises(FamilyError) as caught:
        load_families(file)
    assert told in str(caught.value)
    assert str(file) in str(caught.value)


def test_a_file_that_is_not_there_says_so(tmp_path):
    with pytest.raises(FamilyError, match=r"cannot read kernel families of .*none\.toml"):
        load_families(tmp_path / "none.toml")
