"""What a result says, for people and for programs.

wording      numbers and diagnoses in words
orientation  the image's axes in the patient's terms
location     where a mask lies
terminology  codes of structures and diagnoses
structure    the sections of a report
build        a result as such a report
markdown     the report as text
explanation  the report as one picture
dicom        the report as DICOM SEG and SR

Importing the package is cheap, and of its modules only `dicom` needs highdicom.
"""
