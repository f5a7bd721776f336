#include "cli/archive_mode.h"

#include "base/error.h"

#include <cerrno>
#include <fcntl.h>
#include <fmt/format.h>
#include <fstream>
#include <spawn.h>
#include <sstream>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

namespace pgvigil::cli {

namespace {

Error cannot_tell(const std::string &why) {
    return Error(ErrorCode::kIo, "could not find out the server's archive_mode").detail(why);
}

// What the program writes to its standard output.
std::string output_of(const std::string &program, const std::vector<std::string> &arguments) {
    std::vector<char *> pointers;
    std::vector<std::string> copy = arguments;
    for (std::string &argument : copy)
        pointers.push_back(argument.data());
    pointers.push_back(nullptr);
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        throw system_error("could not create a pipe", errno);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    pid_t child = 0;
    const int failed = posix_spawn(&child, program.c_str(), &actions, nullptr, pointers.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    std::string output;
    char buffer[256];
    for (ssize_t length = 0; failed == 0;) {
        length = read(ends[0], buffer, sizeof buffer);
        if (length > 0)
            output.append(buffer, static_cast<size_t>(length));
        else if (length == 0 || errno != EINTR)
            break;
    }
    close(ends[0]);
    if (failed != 0)
        throw system_error("could not run \"" + program + "\"", failed);
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        throw cannot_tell(fmt::format("\"{}\" ended with status {}.", program, status));
    return output;
}

} // namespace

std::vector<std::string> parse_postmaster_options(std::string_view text) {
    // PROGRAM "argument" "argument": quotes in arguments are not escaped, so ends are a quote before a space.
    std::vector<std::string> arguments;
    size_t at = text.find(" \"");
    while (at != std::string_view::npos) {
        const size_t begin = at + 2;
        at = text.find("\" \"", begin);
        size_t end = at;
        if (at == std::string_view::npos)
            end = text.rfind('"');
        else
            ++at;
        if (end < begin || end == std::string_view::npos)
            break;
        arguments.emplace_back(text.substr(begin, end - begin));
    }
    return arguments;
}

std::string archive_mode_of_server() {
    std::ifstream pid_file("postmaster.pid");
    pid_t pid = 0;
    if (!(pid_file >> pid) || pid <= 0)
        throw cannot_tell("There is no postmaster.pid in the current directory.");
    std::ifstream options_file("postmaster.opts");
    std::ostringstream options;
    if (!options_file || !(options << options_file.rdbuf()))
        throw cannot_tell("There is no postmaster.opts in the current directory.");
    std::vector<std::string> arguments{"postgres"};
    for (std::string &argument : parse_postmaster_options(options.view()))
        arguments.push_back(std::move(argument));
    // A relative -D speaks of the directory the server was started in.
    for (size_t i = 1; i < arguments.size(); ++i) {
        if (arguments[i] == "-D" && i + 1 < arguments.size() && !arguments[i + 1].starts_with('/'))
            arguments[i + 1] = ".";
        else if (arguments[i].starts_with("-D") && arguments[i].size() > 2 && arguments[i][2] != '/')
            arguments[i] = "-D.";
    }
    arguments.emplace_back("-C");
    arguments.emplace_back("archive_mode");
    std::string mode = output_of(fmt::format("/proc/{}/exe", pid), arguments);
    while (!mode.empty() && mode.back() == '\n')
        mode.pop_back();
    if (mode != "off" && mode != "on" && mode != "always")
        throw cannot_tell("The server's program answered \"" + mode.substr(0, 80) + "\".");
    return mode;
}

} // namespace pgvigil::cli
