@echo off
rem Starts `uv tool run` by the wrapper beside this one.
call "%~dp0uv.cmd" tool run %*
exit /b %ERRORLEVEL%
