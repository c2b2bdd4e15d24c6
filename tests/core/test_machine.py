"""How many cores and how much memory this process may use."""

from genrobust.core import machine


def test_a_container_s_quota_and_memory_count(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    unlimited = machine.cores()
    for name, text in {"cpu.max": "100000 100000", "memory.max": "3000", "memory.current": "1000"}.items():
        (tmp_path / name).write_text(text + "\n")
    assert (machine.cores(), machine.free_memory()) == (1, 2000)
    (tmp_path / "memory.stat").write_text("anon 500\nactive_file 300\ninactive_file 100\n")
    assert machine.free_memory() == 2400, "files are cached in memory that is given back"
    (tmp_path / "memory.stat").unlink()
    (tmp_path / "own").write_text("4:memory:/slurm/job_7\n0::/batch\n")
    monkeypatch.setattr(machine, "OWN", tmp_path / "own")
    for group, (limit, used) in {
        "memory/slurm/job_7": ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        "batch": ("memory.max", "memory.current"),
    }.items():
        (tmp_path / group).mkdir(parents=True)
        (tmp_path / group / limit).write_text("1500\n")
        (tmp_path / group / used).write_text("1000\n")
        assert machine.free_memory() == 500, group
        (tmp_path / group / limit).unlink()
    assert machine.free_memory() == 2000
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.cores() == unlimited
    assert machine.free_memory() != 2000
