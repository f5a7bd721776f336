// The archive module's callbacks. archive_file() returns true only when the file is durable in all required
// repositories; it never raises (on 15 and 16 an error would end the archiver), says what is wrong as a warning, and
// keeps handling the archiver's interrupts while it waits. Threading: the archiver's main thread.
#pragma once

namespace pgvigil {

bool archive_configured();
bool archive_file(const char *file, const char *path);
void archive_shutdown();

} // namespace pgvigil
