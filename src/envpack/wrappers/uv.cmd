@echo off
rem Starts the uv of this folder, wherever the folder is now. Variables that are set stay as they are.
setlocal
for %%I in ("%~dp0..") do set "root=%%~fI"
set "machine=%PROCESSOR_ARCHITECTURE%"
if defined PROCESSOR_ARCHITEW6432 set "machine=%PROCESSOR_ARCHITEW6432%"
set "program="
@MACHINES@
if not defined program (
    echo error: this folder has no uv for Windows on %machine% 1>&2
    exit /b 1
)
if not defined UV_CONFIG_FILE set "UV_CONFIG_FILE=%root%\uv.toml"
if not exist "%root%\python\archives" goto run
if not defined UV_PYTHON_CACHE_DIR set "UV_PYTHON_CACHE_DIR=%root%\python\archives"
if not defined UV_PYTHON_DOWNLOADS_JSON_URL set "UV_PYTHON_DOWNLOADS_JSON_URL=%root%\python\downloads.json"
:run
"%root%\libexec\%program%" %*
exit /b %ERRORLEVEL%
