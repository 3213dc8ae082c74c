@echo off
rem @TITLE@: sources, packages, Python and uv, for @PLATFORMS@.
rem install.cmd DIR installs it in DIR, without a network; install.cmd --help tells the rest.
setlocal EnableExtensions DisableDelayedExpansion
set "manifest=@MANIFEST@"
set "own=%~dp0@TREE@\.envpack"
set "code=1"
set "part="
set "asked="
set "key="
set "listed="
if "%~1"=="-h" goto usage
if "%~1"=="--help" goto usage
if "%~1"=="/?" goto usage
if not exist "%own%\unzipped.py" goto packed
set "machine=%PROCESSOR_ARCHITECTURE%"
if defined PROCESSOR_ARCHITEW6432 set "machine=%PROCESSOR_ARCHITEW6432%"
@MACHINES@
>&2 echo error: this bundle is for @PLATFORMS@, and this machine is Windows %machine%
goto end

@PYTHONS@

:ask
if not "%~1"=="" goto begin
set "asked=1"
set "target=%USERPROFILE%\@NAME@"
echo This installs @TITLE@, without a network.
set "answer="
set /p "answer=Folder [%target%]: "
if defined answer set "target=%answer:"=%"

:begin
if not defined key goto system
set "part=%TEMP%\envpack-%RANDOM%-%RANDOM%"
mkdir "%part%"
if errorlevel 1 goto end
copy /b /y "%own%\python\%archive%" "%part%\%cached%" >nul
if errorlevel 1 goto nopython
if defined listed copy /b /y "%own%\python\%listed%" "%part%\downloads.json" >nul
if errorlevel 1 goto nopython
setlocal
for /f "delims==" %%v in ('set UV_ 2^>nul') do set "%%v="
set "UV_PYTHON_CACHE_DIR=%part%"
set "UV_PYTHON_DOWNLOADS=manual"
set "words=python install --quiet --offline --no-config --no-cache --no-bin --no-registry"
if defined listed set "words=%words% --python-downloads-json-url downloads.json"
pushd "%part%"
"%uv%" %words% --install-dir python %key%
popd
endlocal
set "python=%part%\python\%key%\python.exe"
if not exist "%python%" goto nopython
if defined asked goto chosen
"%python%" -I -B -X utf8 "%own%\unzipped.py" "%~f0" %manifest% %*
set "code=%errorlevel%"
goto end
:chosen
"%python%" -I -B -X utf8 "%own%\unzipped.py" "%~f0" %manifest% "%target%"
set "code=%errorlevel%"
goto end

:system
set "words=run --quiet --offline --no-config --no-project --no-python-downloads"
set "words=%words% --python %version% -- python -I -B -X utf8"
if defined asked goto systemchosen
"%uv%" %words% "%own%\unzipped.py" "%~f0" %manifest% %*
set "code=%errorlevel%"
goto end
:systemchosen
"%uv%" %words% "%own%\unzipped.py" "%~f0" %manifest% "%target%"
set "code=%errorlevel%"
goto end

:packed
>&2 echo error: this is not the whole bundle
>&2 echo hint: unpack all of the zip, and run install.cmd in the folder that it becomes
set "asked=1"
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
echo   --python-dir DIR  where Python goes, instead of uv's own directory
echo   --install-uv      also put uv into %%USERPROFILE%%\.local\bin
echo   --sources-to DIR  put the sources there, if DIR holds edited ones
set "code=0"

:end
if defined part rmdir /s /q "%part%" 2>nul
if defined asked pause
exit /b %code%
