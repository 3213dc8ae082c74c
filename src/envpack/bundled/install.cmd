@echo off
rem @TITLE@: sources, packages, Python and uv, for @PLATFORMS@.
rem install.cmd DIR installs it in DIR, without a network; install.cmd --help tells the rest.
setlocal EnableExtensions DisableDelayedExpansion
set "_manifest=@MANIFEST@"
set "_own=%~dp0@TREE@\.envpack"
set "_code=1"
set "_part="
set "_asked="
set "_key="
set "_listed="
if "%~1"=="-h" goto usage
if "%~1"=="--help" goto usage
if "%~1"=="/?" goto usage
if not exist "%_own%\unzipped.py" goto packed
set "_machine=%PROCESSOR_ARCHITECTURE%"
if defined PROCESSOR_ARCHITEW6432 set "_machine=%PROCESSOR_ARCHITEW6432%"
@MACHINES@
>&2 echo error: this bundle is for @PLATFORMS@, and this machine is Windows %_machine%
goto end

@PYTHONS@

:ask
if not "%~1"=="" goto begin
set "_asked=1"
set "_target=%USERPROFILE%\@NAME@"
echo This installs @TITLE@, without a network.
set "_answer="
set /p "_answer=Folder [%_target%]: "
if not defined _answer goto begin
set "_target=%_answer:"=%"

:begin
if not defined _key goto system
set "_new=%TEMP%\envpack-%RANDOM%-%RANDOM%"
mkdir "%_new%"
if errorlevel 1 goto end
set "_part=%_new%"
copy /b /y "%_own%\python\%_archive%" "%_part%\%_cached%" >nul
if errorlevel 1 goto nopython
if defined _listed copy /b /y "%_own%\python\%_listed%" "%_part%\downloads.json" >nul
if errorlevel 1 goto nopython
setlocal
for /f "delims==" %%v in ('set UV_ 2^>nul') do set "%%v="
set "UV_PYTHON_CACHE_DIR=%_part%"
set "UV_PYTHON_DOWNLOADS=manual"
set "_words=python install --quiet --offline --no-config --no-cache --no-bin --no-registry"
if defined _listed set "_words=%_words% --python-downloads-json-url downloads.json"
pushd "%_part%"
"%_uv%" %_words% --install-dir python %_key%
popd
endlocal
set "_python=%_part%\python\%_key%\python.exe"
if not exist "%_python%" goto nopython
if defined _asked goto chosen
"%_python%" -I -B -X utf8 "%_own%\unzipped.py" "%~f0" %_manifest% %*
set "_code=%errorlevel%"
goto end
:chosen
"%_python%" -I -B -X utf8 "%_own%\unzipped.py" "%~f0" %_manifest% "%_target%"
set "_code=%errorlevel%"
goto end

:system
set "_words=run --quiet --offline --no-config --no-project --no-python-downloads"
set "_words=%_words% --python %_version% -- python -I -B -X utf8"
if defined _asked goto systemchosen
"%_uv%" %_words% "%_own%\unzipped.py" "%~f0" %_manifest% %*
set "_code=%errorlevel%"
goto end
:systemchosen
"%_uv%" %_words% "%_own%\unzipped.py" "%~f0" %_manifest% "%_target%"
set "_code=%errorlevel%"
goto end

:packed
>&2 echo error: this is not the whole bundle
>&2 echo hint: unpack all of the zip, and run install.cmd in the folder that it becomes
set "_asked=1"
goto end

:nopython
>&2 echo error: the Python of this bundle cannot be unpacked, and nothing was installed
goto end

:usage
echo Usage: install.cmd [OPTIONS] DIR
echo(
echo Installs @TITLE@ in DIR, offline. Without DIR it asks.
echo(
echo   --check           verify every file, and install nothing
echo   --uninstall       remove from DIR, and beside it, what was installed; edited sources stay
echo   --python-dir DIR  where Python goes, instead of uv's own directory
echo   --install-uv      also put uv into %%USERPROFILE%%\.local\bin, unless a newer one is there
echo   --replace-uv      the same, even if a newer one is there
echo   --sources-to DIR  put the sources there, if DIR holds edited ones
set "_code=0"

:end
if defined _part rmdir /s /q "%_part%" 2>nul
if defined _asked pause
exit /b %_code%
