"""What is said and done when memory does not suffice."""

import pytest
import torch

from Sim4SegCore import cli
from Sim4SegCore.out_of_memory import is_out_of_memory


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("MPS backend out of memory (MPS allocated: 9.0 GB)"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:114] DefaultCPUAllocator: not enough memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
)
def test_every_way_of_saying_it_is_understood(error):
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error", [RuntimeError("shapes do not match"), ValueError("out of memory"), OSError(28, "full")]
)
def test_other_errors_are_not_taken_for_it(error):
    assert not is_out_of_memory(error)


def test_the_command_line_says_it_in_one_line(monkeypatch, capsys, tmp_path):
    def hungry(*_, **__):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9")

    monkeypatch.setattr("Sim4SegCore.io.read_case", hungry)
    code = cli.main(["segment", "lesion.png", "Is there a lesion?", "-o", str(tmp_path / "out")])
    said = capsys.readouterr().err
    assert code == 2
    assert said.count("\n") == 1 and "not enough memory" in said
    assert not (tmp_path / "out").exists()
