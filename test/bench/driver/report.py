"""Tables of results: printed, and as Markdown for docs/performance.md."""
import datetime
import os
import platform


class Table:
    """One case: a row per competitor."""

    def __init__(self, case, title, columns):
        self.case, self.title, self.columns, self.rows, self.notes = case, title, columns, [], []

    def add(self, name, *values):
        self.rows.append([name, *[value if isinstance(value, str) else f"{value:.2f}" for value in values]])

    def note(self, text):
        self.notes.append(text)

    def plain(self):
        rows = [["", *self.columns], *self.rows]
        widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
        lines = [self.title]
        for row in rows:
            lines.append("  " + row[0].ljust(widths[0]) + "".join("  " + cell.rjust(width) for cell, width in zip(row[1:], widths[1:])))
        return "\n".join(lines + ["  " + note for note in self.notes])

    def markdown(self):
        lines = [f"### {self.title}", "", "| | " + " | ".join(self.columns) + " |",
                 "|---" + "|---:" * len(self.columns) + "|"]
        lines += ["| " + " | ".join(row) + " |" for row in self.rows]
        return "\n".join(lines + [""] + [f"{note}\n" for note in self.notes])


def machine():
    model = "unknown processor"
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    with open("/proc/meminfo", encoding="utf-8") as file:
        memory = int(file.readline().split()[1]) // (1 << 20)
    return f"{os.cpu_count()} × {model}, {memory} GB of memory, Linux {platform.release()}"


def header(versions, load):
    """What a measurement means depends on where and with what it was taken."""
    now = datetime.datetime.now(datetime.timezone.utc)
    return "\n".join([f"Measured {now:%Y-%m-%d %H:%M} UTC on {machine()}.", "",
                      "Versions: " + ", ".join(f"{name} {version}" for name, version in versions) + ".", "",
                      f"Load of the machine when the run began: {load:.2f}.", ""])
